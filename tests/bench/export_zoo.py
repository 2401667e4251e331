"""Exports small random models of every family with every exporter at hand.

usage: export_zoo.py FOLDER [--match=REGEX] [--list]

Writes FOLDER/MODEL__EXPORTER.onnx with .in.npy and .out.npy (three samples,
PyTorch's output). Check them with

    build/release/tests/one_form FOLDER

which wants every model to recompose completely, to one form per MODEL, and to
keep its output. Models that are expected to leave something over get a file
MODEL__EXPORTER.open. Needs PyPI's torch (CPU is enough) with any of timm,
torchvision and transformers, onnx, onnxscript; onnxruntime adds its optimised
graphs, onnxsim its simplified ones. Says what it skips.
"""
import argparse
import importlib
import logging
import os
import re
import sys
import traceback
import warnings

import numpy as np
import torch

MODELS = {}


def have(name):
    try:
        return importlib.import_module(name)
    except Exception as e:  # a broken installation is as good as none
        print(f"SKIPPED: everything of {name}: {e}")
        return None


def model(name, size, open_=False, dynamo=True):
    """Registers a function that makes a module for 3 x size x size pictures.

    open_: leaves something over, honestly. dynamo: this exporter can do it.
    """
    def add(make):
        MODELS[name] = (make, size, open_, dynamo)
        return make
    return add


# ---- timm --------------------------------------------------------------------

def add_timm():
    timm = have("timm")
    if not timm:
        return
    from timm.models import beit, eva, swin_transformer, swin_transformer_v2
    from timm.models import vision_transformer as vit
    from timm.models import deit
    from functools import partial
    import torch.nn as nn
    base = dict(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3,
                num_classes=10)

    def add(name, make, size=32, **k):
        model(name, size, **k)(make)

    def vit_(**k):
        return lambda: vit.VisionTransformer(**{**base, **k})

    add("timm_vit", vit_())
    add("timm_vit_avg", vit_(global_pool="avg", class_token=False))
    add("timm_vit_avg_cls", vit_(global_pool="avg"))
    add("timm_vit_avg_nofc", vit_(global_pool="avg", fc_norm=False))
    add("timm_vit_map", vit_(global_pool="map", class_token=False))
    add("timm_vit_map_cls", vit_(global_pool="map"))
    add("timm_vit_qknorm", vit_(qk_norm=True))
    add("timm_vit_ls", vit_(init_values=0.3))
    add("timm_vit_prenorm", vit_(pre_norm=True))
    add("timm_vit_fcnorm", vit_(fc_norm=True))
    add("timm_vit_nobias", vit_(qkv_bias=False))
    add("timm_vit_reg", vit_(reg_tokens=4))
    add("timm_vit_reg_noembed", vit_(reg_tokens=4, no_embed_class=True,
                                     init_values=1e-1))
    add("timm_vit_reg_nocls", vit_(reg_tokens=2, class_token=False,
                                   global_pool="avg"))
    add("timm_vit_dynsize", vit_(dynamic_img_size=True))
    add("timm_vit_dynsize_other",
        vit_(dynamic_img_size=True, img_size=48), size=32)
    add("timm_vit_tanh", vit_(act_layer=partial(nn.GELU, approximate="tanh")))
    add("timm_vit_quick", vit_(act_layer="quick_gelu"))
    add("timm_vit_silu", vit_(act_layer="silu"))
    add("timm_vit_features", vit_(num_classes=0))
    add("timm_vit_nopool", vit_(num_classes=0, global_pool=""))
    add("timm_vit_oneblock", vit_(depth=1, num_heads=1))
    add("timm_vit_swiglu", vit_(
        mlp_layer=vit.SwiGLUPacked if hasattr(vit, "SwiGLUPacked")
        else importlib.import_module("timm.layers").SwiGLUPacked,
        act_layer=nn.SiLU, mlp_ratio=4))
    add("timm_vit_swiglu2", vit_(
        mlp_layer=importlib.import_module("timm.layers").SwiGLU))
    add("timm_vit_respost", vit_(block_fn=vit.ResPostBlock, init_values=0.5))
    add("timm_vit_parallel", vit_(block_fn=vit.ParallelThingsBlock))
    add("timm_vit_scaling", vit_(block_fn=vit.ParallelScalingBlock))
    add("timm_vit_patch_odd", vit_(img_size=42, patch_size=14), size=42)
    add("timm_deit_dist", lambda: deit.VisionTransformerDistilled(**base))
    add("timm_deit3", lambda: vit.VisionTransformer(
        **{**base, "no_embed_class": True, "init_values": 1e-1}))

    def beit_(**k):
        return lambda: beit.Beit(**{**base, **k})

    add("timm_beit", beit_(use_rel_pos_bias=True, use_abs_pos_emb=False,
                           init_values=0.1))
    add("timm_beit_shared", beit_(use_shared_rel_pos_bias=True,
                                  use_abs_pos_emb=True, init_values=0.1))
    add("timm_beit_nols", beit_(use_rel_pos_bias=True))
    add("timm_beit_swiglu", beit_(use_rel_pos_bias=True, swiglu_mlp=True,
                                  scale_mlp=True))

    def eva_(**k):
        return lambda: eva.Eva(**{**base, **k})

    add("timm_eva_abs", eva_(use_rot_pos_emb=False))
    add("timm_eva02", eva_(use_rot_pos_emb=True, swiglu_mlp=True,
                           scale_mlp=True, ref_feat_shape=(4, 4)))
    add("timm_eva_unpacked", eva_(qkv_fused=False, swiglu_mlp=True,
                                  use_rot_pos_emb=True))

    swin = dict(img_size=64, patch_size=4, embed_dim=24, depths=(2, 2),
                num_heads=(2, 4), window_size=4, num_classes=10)

    def swin_(**k):
        return lambda: swin_transformer.SwinTransformer(**{**swin, **k})

    def swin2_(**k):
        return lambda: swin_transformer_v2.SwinTransformerV2(**{**swin, **k})

    add("timm_swin", swin_(), size=64)
    add("timm_swin_w7", swin_(img_size=56, window_size=7), size=56)
    add("timm_swin_pad", swin_(img_size=56, window_size=4), size=56)
    add("timm_swin_pad5", swin_(window_size=5), size=64)
    add("timm_swin_ape", swin_(ape=True), size=64)
    add("timm_swin_one_window", swin_(img_size=32, window_size=8), size=32)
    add("timm_swin_features", swin_(num_classes=0), size=64)
    add("timm_swin_masked", swin_(always_partition=True, img_size=32,
                                  window_size=8), size=32)
    add("timm_swin2", swin2_(), size=64)
    add("timm_swin2_w7", swin2_(img_size=56, window_size=7), size=56)
    add("timm_swin2_pre", swin2_(pretrained_window_sizes=(2, 2)), size=64)

    def named(name, size, **k):
        k = {**dict(img_size=size, patch_size=size // 4, embed_dim=48, depth=2,
                    num_heads=3, num_classes=10), **k}
        return lambda: timm.create_model(name, **k)

    add("timm_dinov2", named("vit_small_patch14_dinov2", 32), size=32)
    add("timm_dinov2_reg", named("vit_small_patch14_reg4_dinov2", 32), size=32)
    add("timm_dinov2_g", named("vit_giant_patch14_dinov2", 32, mlp_ratio=2.66667),
        size=32)
    add("timm_siglip", named("vit_base_patch16_siglip_224", 32), size=32)
    add("timm_siglip_gap", named("vit_base_patch16_siglip_gap_224", 32), size=32)
    add("timm_clip", named("vit_base_patch32_clip_224", 32), size=32)
    add("timm_clip_quick", named("vit_base_patch32_clip_quickgelu_224", 32),
        size=32)


# ---- torchvision -------------------------------------------------------------

def add_torchvision():
    if not have("torchvision"):
        return
    from torchvision.models import swin_transformer as swin
    from torchvision.models import vision_transformer as vit
    model("tv_vit", 32)(lambda: vit.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48,
        mlp_dim=96, num_classes=10))
    model("tv_vit_rep", 32)(lambda: vit.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48,
        mlp_dim=96, num_classes=10, representation_size=32))
    base = dict(patch_size=[4, 4], embed_dim=24, depths=[2, 2],
                num_heads=[2, 4], num_classes=10)
    for name, window, size in (("tv_swin", 4, 64), ("tv_swin_w7", 7, 56),
                               ("tv_swin_pad", 5, 64), ("tv_swin_odd", 4, 60)):
        model(name, size)(lambda window=window: swin.SwinTransformer(
            window_size=[window, window], **base))
        model(name.replace("swin", "swin2"), size)(
            lambda window=window: swin.SwinTransformer(
                window_size=[window, window], block=swin.SwinTransformerBlockV2,
                downsample_layer=swin.PatchMergingV2, **base))


# ---- transformers ------------------------------------------------------------

class First(torch.nn.Module):
    """A HF model as a function of pixels alone, with one output."""

    def __init__(self, inner, key):
        super().__init__()
        self.inner, self.key = inner, key

    def forward(self, pixel_values):
        return self.inner(pixel_values=pixel_values)[self.key]


def add_transformers():
    hf = have("transformers")
    if not hf:
        return
    base = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                intermediate_size=96, image_size=32, patch_size=8, num_labels=10)

    def add(name, config, cls, key, size=32, impl=("eager", "sdpa"),
            open_=False, **k):
        def make(attention):
            c = getattr(hf, config)(**{**base, **k})
            c._attn_implementation = attention
            return First(getattr(hf, cls)(c), key)
        for i, attention in enumerate(impl):
            # One network: MODEL is the name before the attention.
            model(f"hf_{name}__{attention}", size, open_,
                  dynamo="swin" not in name)(lambda a=attention: make(a))

    add("vit", "ViTConfig", "ViTForImageClassification", "logits")
    add("vit_pooler", "ViTConfig", "ViTModel", "pooler_output")
    add("vit_nobias", "ViTConfig", "ViTForImageClassification", "logits",
        qkv_bias=False)
    add("vit_tanh", "ViTConfig", "ViTForImageClassification", "logits",
        hidden_act="gelu_new")
    add("vit_pytorch_tanh", "ViTConfig", "ViTForImageClassification", "logits",
        hidden_act="gelu_pytorch_tanh")
    add("vit_fast", "ViTConfig", "ViTForImageClassification", "logits",
        hidden_act="gelu_fast")
    add("vit_quick", "ViTConfig", "ViTForImageClassification", "logits",
        hidden_act="quick_gelu")
    add("deit", "DeiTConfig", "DeiTForImageClassificationWithTeacher", "logits")
    add("beit", "BeitConfig", "BeitForImageClassification", "logits",
        use_relative_position_bias=True, use_absolute_position_embeddings=False)
    add("beit_shared", "BeitConfig", "BeitForImageClassification", "logits",
        use_shared_relative_position_bias=True)
    add("dinov2", "Dinov2Config", "Dinov2ForImageClassification", "logits",
        mlp_ratio=2)
    add("dinov2_other_size", "Dinov2Config", "Dinov2ForImageClassification",
        "logits", mlp_ratio=2, image_size=48)
    add("dinov2_swiglu", "Dinov2Config", "Dinov2ForImageClassification",
        "logits", use_swiglu_ffn=True)
    add("dinov2_reg", "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersForImageClassification", "logits", mlp_ratio=2)
    add("clip", "CLIPVisionConfig", "CLIPVisionModelWithProjection",
        "image_embeds", projection_dim=24)
    add("clip_pooled", "CLIPVisionConfig", "CLIPVisionModel", "pooler_output")
    add("siglip", "SiglipVisionConfig", "SiglipVisionModel", "pooler_output")
    swin = dict(embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4,
                image_size=64, patch_size=4)
    add("swin", "SwinConfig", "SwinForImageClassification", "logits", size=64,
        impl=("eager",), **swin)
    add("swin_pad", "SwinConfig", "SwinForImageClassification", "logits",
        size=64, impl=("eager",), **{**swin, "window_size": 5})
    add("swin2", "Swinv2Config", "Swinv2ForImageClassification", "logits",
        size=64, impl=("eager",), **swin)
    add("mobilevit", "MobileViTConfig", "MobileViTForImageClassification",
        "logits", size=64, open_=True, hidden_sizes=[24, 32, 40],
        neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 96], patch_size=2,
        image_size=64, impl=("eager",))


# ---- exporters ---------------------------------------------------------------

def lively(m):
    """Weights that make every part of the network matter."""
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in m.named_parameters():
            std = 0.05 if p.dim() > 1 else 0.2
            noise = torch.randn(p.shape, generator=g) * std
            # Scales (norms, LayerScale) stay near what they are.
            p.copy_(p + noise if p.dim() == 1 and p.abs().sum() > 0 else
                    noise * (3 if p.dim() > 1 else 1))
    return m.eval()


def torchscript(m, x, path, opset, dynamic, fold=True):
    for part in m.modules():  # timm: attention by hand where the op is missing
        if hasattr(part, "fused_attn"):
            part.fused_attn = opset >= 14
    axes = {"image": {0: "batch"}, "y": {0: "batch"}} if dynamic else None
    torch.onnx.export(m, (x,), path, opset_version=opset, dynamo=False,
                      input_names=["image"], output_names=["y"],
                      dynamic_axes=axes, do_constant_folding=fold)


def dynamo(m, x, path, opset, dynamic, fold=True):
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if dynamic else None
    program = torch.onnx.export(m, (x,), opset_version=opset, dynamo=True,
                                input_names=["image"], output_names=["y"],
                                dynamic_shapes=shapes, verbose=False,
                                external_data=False, optimize=fold)
    program.save(path, external_data=False)


EXPORTERS = {}
for _opset in (11, 12, 13, 14, 16, 17, 18, 20):
    for _dynamic in (False, True):
        EXPORTERS[f"ts{_opset}_{'dyn' if _dynamic else 'st'}"] = (
            torchscript, _opset, _dynamic, True)
EXPORTERS["ts17_dyn_nofold"] = (torchscript, 17, True, False)
for _opset in (18, 20, 23):
    for _dynamic in (False, True):
        EXPORTERS[f"dy{_opset}_{'dyn' if _dynamic else 'st'}"] = (
            dynamo, _opset, _dynamic, True)
EXPORTERS["dy18_dyn_noopt"] = (dynamo, 18, True, False)


def derived(path):
    """What other tools make of an exported file: (suffix, maker) pairs."""
    def ort(level):
        def make(out):
            import onnxruntime as rt
            o = rt.SessionOptions()
            o.graph_optimization_level = getattr(rt.GraphOptimizationLevel, level)
            o.optimized_model_filepath = out
            o.log_severity_level = 4
            rt.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        return make

    def simplified(out):
        import onnx
        import onnxsim
        m, ok = onnxsim.simplify(onnx.load(path))
        assert ok
        onnx.save(m, out)

    return (("ortbasic", ort("ORT_ENABLE_BASIC")),
            ("ortext", ort("ORT_ENABLE_EXTENDED")), ("sim", simplified))


DERIVED_FROM = ("ts17_dyn", "ts13_st", "dy20_st")


def quietly(function, *arguments):
    """None, or the first line of what went wrong. PyTorch also prints from C."""
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        function(*arguments)
        return None
    except Exception as e:
        lines = [l for l in str(e).strip().splitlines() if l.strip()]
        return f"{type(e).__name__}: {lines[0][:150] if lines else ''}"
    finally:
        sys.stdout.flush()
        for to, old in enumerate(kept, 1):
            os.dup2(old, to)
            os.close(old)
        os.close(nowhere)


def write(folder, name, make, size, open_, can_dynamo, exporters):
    torch.manual_seed(1)
    try:
        m = lively(make())
        x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            y = m(x)
    except Exception:
        print(f"SKIPPED: {name}: {traceback.format_exc().splitlines()[-1]}",
              flush=True)
        return

    def record(stem):
        np.save(stem + ".in.npy", x.numpy())
        np.save(stem + ".out.npy", y.numpy())
        if open_:
            open(stem + ".open", "w").close()

    for exporter, (function, opset, dynamic, fold) in EXPORTERS.items():
        if not re.search(exporters, exporter):
            continue
        if function is dynamo and not can_dynamo:
            continue
        stem = os.path.join(folder, f"{name}__{exporter}")
        sample = x if dynamic else x[:1]
        said = quietly(function, m, sample, stem + ".onnx", opset, dynamic, fold)
        if said:
            if os.path.exists(stem + ".onnx"):
                os.unlink(stem + ".onnx")
            print(f"SKIPPED: {name}__{exporter}: {said}", flush=True)
            continue
        record(stem)
        if exporter not in DERIVED_FROM:
            continue
        for suffix, function in derived(stem + ".onnx"):
            other = f"{stem}_{suffix}"
            said = quietly(function, other + ".onnx")
            if said:
                print(f"SKIPPED: {name}__{exporter}_{suffix}: {said}", flush=True)
            else:
                record(other)
    print(name, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--match", default="", help="models to export")
    parser.add_argument("--exporters", default="", help="exporters to use")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(2)
    add_timm()
    add_torchvision()
    add_transformers()
    os.makedirs(arguments.folder, exist_ok=True)
    for name, entry in MODELS.items():
        if not re.search(arguments.match, name):
            continue
        if arguments.list:
            print(name)
        else:
            write(arguments.folder, name, *entry, arguments.exporters)


if __name__ == "__main__":
    main()
