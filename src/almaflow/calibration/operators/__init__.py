"""Calibration of single operators: fills the tables that predictions add up."""
