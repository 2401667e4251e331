"""Times a step of picture synthesis (PSAQ-ViT) against the same in PyTorch.

usage: psaq_step.py MODEL.onnx --vitqc PATH [--threads=2,1] [--rounds=N]
                    [--batch=32] [--steps=3]

A step is the model and its loss forward and backward to the pixels of a batch:
cross-entropy, total variation and the entropy of patches of every block, in its
Gaussian form. vitqc's number includes Adam and what pictures are rolled and
mirrored by, PyTorch's does not. MODEL.onnx gives vitqc its weights; PyTorch runs
a ViT-Ti of its own with random ones, whose time is the same.

vitqc makes as many pictures as threads work on, with few and with more steps: the
difference is without generating code. Both take turns, some steps in each round, whose
ratio is one of two numbers measured one after the other, since machines are shared.
Needs PyPI's torch.
"""
import argparse
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time

SHORT = 2  # steps of a picture in the short run


# ---- PyTorch ---------------------------------------------------------------------

def torch_step(batch):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x, taps):
            b, n, width = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(
                b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v)
            taps.append(y)
            x = x + self.proj(y.transpose(1, 2).reshape(b, n, width))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class ViT(nn.Module):
        def __init__(self, width=192, depth=12, heads=3, patch=16, size=224):
            super().__init__()
            self.embed = nn.Conv2d(3, width, patch, patch)
            self.cls = nn.Parameter(torch.randn(1, 1, width))
            self.pos = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
            self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

        def forward(self, x, taps):
            x = self.embed(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
            for block in self.blocks:
                x = block(x, taps)
            return self.head(self.norm(x[:, :1])).squeeze(1)

    def entropy(y):
        u = F.normalize(y.mean(1)[:, 1:], dim=2, eps=1e-4)
        gram = u.transpose(1, 2) @ u / u.shape[1]
        mean = u.mean(1).square().sum(1)
        var = gram.square().sum((1, 2)) - mean.square()
        return 0.5 * torch.log(2 * math.pi * math.e * var.clamp_min(1e-10))

    def variation(x):
        steps = (x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :],
                 x[..., 1:, :-1] - x[..., :-1, 1:], x[..., 1:, 1:] - x[..., :-1, :-1])
        return sum(d.square().sum((1, 2, 3)).sqrt() for d in steps)

    torch.manual_seed(1)
    model = ViT().eval().requires_grad_(False)
    wanted = torch.randint(1000, (batch,))
    x = torch.randn(batch, 3, 224, 224, requires_grad=True)

    def step():
        taps = []
        logits = model(x, taps)
        loss = F.cross_entropy(logits, wanted, reduction="none")
        loss = loss + 0.05 * (variation(x) - 2700).abs() - sum(map(entropy, taps))
        x.grad = None
        loss.sum().backward()
        return x.grad

    return step


def time_torch(step, threads, steps):
    import torch
    torch.set_num_threads(threads)
    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


# ---- vitqc -----------------------------------------------------------------------

def synthesis_seconds(args, threads, pictures, steps):
    passes = (f"fold,recompose,cse,dce,synthesize{{count={pictures} steps={steps} "
              "styles=one}")
    with tempfile.NamedTemporaryFile(suffix=".vq") as out:
        run = subprocess.run(
            [args.vitqc, args.model, f"--passes={passes}", "--emit=ir", "--time-passes",
             f"--threads={threads}", "-o", out.name],
            stderr=subprocess.PIPE, text=True, check=True)
    return float(re.search(r"([0-9.]+) ms  synthesize", run.stderr)[1]) / 1e3


def time_vitqc(args, threads):
    steps = max(args.steps * args.batch // threads, 1)
    less = synthesis_seconds(args, threads, threads, SHORT)
    more = synthesis_seconds(args, threads, threads, SHORT + steps)
    return (more - less) * args.batch / (threads * steps)


# ---- both ------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][len("usage: "):])
    parser.add_argument("model")
    parser.add_argument("--vitqc", required=True)
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("psaq_step.py: PyPI's torch is not installed")
    step = torch_step(args.batch)
    for threads in map(int, args.threads.split(",")):
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(time_vitqc(args, threads))
            theirs.append(time_torch(step, threads, args.steps))
        ratio = [b / a for a, b in zip(ours, theirs)]
        print(f"{threads} threads, batch {args.batch}: vitqc {min(ours):.2f} s, "
              f"PyTorch {torch.__version__} {min(theirs):.2f} s a step (fastest of "
              f"{args.rounds}); ratio {statistics.median(ratio):.2f} "
              f"({min(ratio):.2f} to {max(ratio):.2f})", flush=True)


if __name__ == "__main__":
    main()
