"""Hold the measurement against a predictor of one's own: a machine that reads its weights at so many GB/s."""

from dataclasses import dataclass

from almaflow.records import Prediction, PredictionRequest


@dataclass(frozen=True)
class WeightReader:
    """Predicts the time in which memory gives the weights once."""

    gb_per_s: float = 10.0
    name: str = "weight_reader"
    version: str = "1"

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Return the prediction; None where the model's operations could not be counted."""
        if question.workload is None:
            return None
        return Prediction(question.workload.parameters_mb / self.gb_per_s, self.name, self.version)


def main() -> None:
    """Measure a model whose time goes into reading weights, and print how far the prediction is off."""
    import torch

    import almaflow

    result = almaflow.validate(
        torch.nn.Linear(2048, 2048),
        torch.randn(1, 2048),
        model_name="one_layer",
        conversions=["EAGER"],
        measure="quick",
        overrides=["+predictor.mine={_target_: own_predictor.WeightReader, gb_per_s: 12}"],
    )
    result.print()
    print(f"off by {result.conversions[0]['prediction/weight_reader/error_pct']:+.0f}%")


if __name__ == "__main__":
    main()
