"""A Llama-shaped network in plain PyTorch, with the rotary layout that GGUF's llama files use
(neighbouring pairs), so that the exported query and key rows need no permutation."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    vocabulary: int = 2048
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 512
    context: int = 1024
    theta: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_dim(self):
        return self.width // self.heads

    def as_dict(self):
        return asdict(self)


def rotary_table(shape):
    inverse = shape.theta ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim)
    angle = torch.outer(torch.arange(shape.context, dtype=torch.float64), inverse)
    return torch.cos(angle).float(), torch.sin(angle).float()


def rotate(x, cos, sin):
    """x: [batch, heads, tokens, head_dim]; pairs (2i, 2i+1) turn by the angle of their position."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        width, kv = shape.width, shape.kv_heads * shape.head_dim
        self.attn_norm = nn.Parameter(torch.ones(width))
        self.ffn_norm = nn.Parameter(torch.ones(width))
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, kv, bias=False)
        self.v = nn.Linear(width, kv, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, shape.ffn, bias=False)
        self.up = nn.Linear(width, shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, width, bias=False)
        for linear in (self.q, self.k, self.v, self.gate, self.up):
            nn.init.normal_(linear.weight, std=width ** -0.5)
        for linear in (self.o, self.down):
            nn.init.zeros_(linear.weight)

    def forward(self, x, cos, sin, past=None):
        shape, (batch, tokens, width) = self.shape, x.shape
        normed = F.rms_norm(x, (width,), self.attn_norm, shape.epsilon)
        split = lambda y, heads: y.view(batch, tokens, heads, shape.head_dim).transpose(1, 2)
        q = rotate(split(self.q(normed), shape.heads), cos, sin)
        k = rotate(split(self.k(normed), shape.kv_heads), cos, sin)
        v = split(self.v(normed), shape.kv_heads)
        if past is not None:
            if past[0] is not None:
                k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
            past[0], past[1] = k, v
        self.seen = (q, k) if self.training else None  # for the training losses on attention
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if self.training:  # on a CPU and for short texts quicker than the fused form, backwards above all
            score = (q * shape.head_dim ** -0.5) @ k.transpose(2, 3)
            later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
            mixed = torch.softmax(score.masked_fill(later, -1e9), -1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=tokens > 1)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, tokens, width))
        normed = F.rms_norm(x, (width,), self.ffn_norm, shape.epsilon)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Network(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.05)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        cos, sin = rotary_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids):
        """Hidden states after each layer (for the training heads) and the final normed state."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x, states = F.embedding(ids, self.embedding), []
        for layer in self.layers:
            x = layer(x, cos, sin)
            states.append(x)
        return states, F.rms_norm(x, (self.shape.width,), self.norm, self.shape.epsilon)

    def logits(self, state):
        return state @ self.embedding.t()

    @torch.no_grad()
    def generate(self, ids, stop, limit=64):
        """Greedy continuation of one prompt; ties go to the lower id."""
        past, made, start = [[None, None] for _ in self.layers], [], 0
        while len(made) < limit and start + len(ids) <= self.shape.context:
            x = F.embedding(torch.tensor([ids]), self.embedding)
            cos, sin = self.cos[start:start + len(ids)], self.sin[start:start + len(ids)]
            for layer, memory in zip(self.layers, past):
                x = layer(x, cos, sin, memory)
            start += len(ids)
            last = F.rms_norm(x[0, -1], (self.shape.width,), self.norm, self.shape.epsilon)
            token = int(torch.argmax(self.logits(last)))
            if token in stop:
                break
            made.append(token)
            ids = [token]
        return made
