"""Compiles the Triton kernel for a GPU that need not be there; prints each binary's bytes."""

from triton import compile as compiled
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from codert.transducer.recursion_triton import _recursion

_ARRAYS = ("blank", "label", "frame_lengths", "label_lengths", "alpha", "beta")
for scores in ("*fp32", "*fp64"):
    types = (scores, scores, "*i64", "*i64", "*fp64", "*fp64")
    for width, warps in ((32, 1), (128, 4)):
        signature = dict(zip(_ARRAYS, types, strict=True)) | {"T": "i32", "U1": "i32"}
        source = ASTSource(
            fn=_recursion,
            signature=signature | {"WIDTH": "constexpr"},
            constexprs={"WIDTH": width},
        )
        options = {"num_warps": warps, "enable_fp_fusion": False}
        kernel = compiled(source, target=GPUTarget("cuda", 80, 32), options=options)
        print(len(kernel.asm["cubin"]))
