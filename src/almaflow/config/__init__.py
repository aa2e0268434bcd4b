"""Configuration: the YAML files of ``conf/``, their types and ranges, and what they come to on this machine.

Only this package and the command line know Hydra and OmegaConf. Import its modules themselves: a command that only
lists files loads neither library.
"""
