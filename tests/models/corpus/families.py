"""Small members of the families that people take from torchvision, timm and transformers, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from tests.models.corpus.example import ANYTHING, BFLOAT16, FLOAT16, always_ok, example, floats, integers, may_be_wrong

COMMON = always_ok("EXPORT+EAGER", "ONNX_CPU", why="this family is what the runtimes are made for")
PICTURE = floats(3, 64, 64)
WORDS = integers(8, high=90, name="input_ids")
MASK = integers(8, high=2, low=1, name="attention_mask")
"""Nothing is masked, which transformers' code asks the values about."""
PRELOAD = (
    "torchvision",
    "timm",
    *(
        f"transformers.models.{name}.modeling_{name}"
        for name in ("bert", "gpt2", "llama", "t5", "clip", "segformer", "wav2vec2")
    ),
)
"""What the server imports, so that no worker has to."""

DETECTOR_ROUNDING = may_be_wrong(*FLOAT16, *BFLOAT16, why="rounding changes which boxes are kept")


@example(PICTURE, name="torchvision_resnet18", kwargs={"name": "resnet18"}, rules=(COMMON,))
@example(PICTURE, name="torchvision_mobilenet_v3_small", kwargs={"name": "mobilenet_v3_small"}, rules=(COMMON,))
@example(PICTURE, name="torchvision_shufflenet", kwargs={"name": "shufflenet_v2_x0_5"}, rules=(COMMON,))
@example(PICTURE, name="torchvision_lraspp", kwargs={"name": "lraspp_mobilenet_v3_large", "weights_backbone": None})
@example(
    PICTURE,
    name="torchvision_deeplabv3",
    kwargs={"name": "deeplabv3_mobilenet_v3_large", "weights_backbone": None, "aux_loss": True},
)
def torchvision_model(name: str, **kwargs: Any) -> torch.nn.Module:
    """A torchvision network whose batch normalisations have statistics, so that signals do not die out."""
    from torchvision import models

    model = _lively(models.get_model(name, weights=None, num_classes=10, **kwargs))
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
    return model


@example(
    floats(3, 64, 64),
    name="torchvision_fasterrcnn",
    kwargs={"name": "fasterrcnn_mobilenet_v3_large_320_fpn", "lively": False, "min_size": 64, "max_size": 64},
    batch_size=1,
    sizes_by_values=True,
    rules=(DETECTOR_ROUNDING,),
)
@example(
    floats(3, 64, 64),
    name="torchvision_ssdlite",
    kwargs={"name": "ssdlite320_mobilenet_v3_large", "lively": True},
    batch_size=1,
    sizes_by_values=True,
    rules=(DETECTOR_ROUNDING,),
)
def torchvision_detector(name: str, *, lively: bool, **kwargs: Any) -> torch.nn.Module:
    """A torchvision detector on small pictures, which gives a list of dictionaries."""
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=3, **kwargs)
    if lively:
        with torch.no_grad():
            _lively(model.backbone).train()(torch.randn(8, 3, 64, 64))
    return model


def _lively(model: Any) -> Any:
    """Draw weights that keep a signal's size, and let batch normalisations take the statistics of one batch."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    return model


@example(floats(3, 160, 160), name="timm_vit", kwargs={"name": "test_vit"}, batch_size=1, rules=(COMMON,))
@example(floats(3, 160, 160), name="timm_convnext", kwargs={"name": "test_convnext"}, batch_size=1, rules=(COMMON,))
@example(floats(3, 160, 160), name="timm_efficientnet", kwargs={"name": "test_efficientnet"}, batch_size=1)
@example(floats(3, 160, 160), name="timm_maxvit", kwargs={"name": "test_maxvit"}, batch_size=1)
@example(floats(3, 160, 160), name="timm_mambaout", kwargs={"name": "test_mambaout"}, batch_size=1)
def timm_model(name: str) -> Any:
    """One of timm's own networks for tests."""
    import timm

    return timm.create_model(name, pretrained=False, num_classes=10)


@example(WORDS, MASK, rules=(COMMON,), decides_by_values=ANYTHING)
def bert() -> Any:
    """An encoder: an object with a name for each output."""
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    )


@example(WORDS, MASK, name="gpt2_with_cache", kwargs={"use_cache": True}, decides_by_values=ANYTHING)
@example(WORDS, name="gpt2", kwargs={"use_cache": False}, rules=(always_ok("EXPORT+EAGER", why="PyTorch runs it"),))
def gpt2(*, use_cache: bool) -> Any:
    """A decoder; with a cache its answer holds keys and values too."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=2, n_positions=32, use_cache=use_cache)
    )


@example(WORDS, name="llama")
def llama() -> Any:
    """A decoder with rotary positions and grouped keys."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=90,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            use_cache=False,
        )
    )


@example(WORDS, integers(5, high=90, name="decoder_input_ids"), name="t5")
def t5() -> Any:
    """An encoder and a decoder, each with its own words; many optional parameters lie between them."""
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(vocab_size=90, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=2, use_cache=False)
    )


@example(WORDS, floats(3, 32, 32, name="pixel_values"), name="clip")
def clip() -> Any:
    """Two towers, words and pictures, that meet in a product."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPModel(
        CLIPConfig(
            text_config=tower | {"vocab_size": 90, "eos_token_id": 89},
            vision_config=tower | {"image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    )


@example(floats(3, 32, 32, name="pixel_values"), name="segformer")
def segformer() -> Any:
    """A segmenting transformer."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 2], decoder_hidden_size=16
        )
    )


@example(floats(1600, name="input_values"), name="wav2vec2", batch_size=1)
def wav2vec2() -> Any:
    """Sound to features."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=48,
            conv_dim=(16, 16),
            conv_stride=(5, 4),
            conv_kernel=(10, 8),
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        )
    )
