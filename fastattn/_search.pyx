"""The rows of a corpus that are most like each query."""
from libc.stdint cimport int64_t

from ._cpu cimport (
    FA_FEW_QUERIES, fa_corpus_part, fa_dtype, fa_top_k_plan, kernels,
)
from ._packed cimport PackedMatrix
from ._program cimport Program, row_stride

from . import _packed

from ._packed import empty_packed, pack

FEW_QUERIES = FA_FEW_QUERIES
KINDS = {"e": "float16", "H": "bfloat16"}


cdef int set_part(
    Program program, object array, int64_t dim, fa_corpus_part *part
) except -1:
    """Point a part of a corpus to an array."""
    cdef str kind = KINDS.get(array.dtype.char, "float32")
    cdef Py_buffer *view = program.view(array, "corpus", kind, 2)
    if view.shape[1] != dim:
        raise ValueError(f"corpus must have {dim} columns, got {view.shape[1]}")
    if dim > 1 and view.strides[1] != view.itemsize:
        raise ValueError("corpus must have adjacent columns")
    part.rows, part.x, part.ldx = view.shape[0], view.buf, row_stride(view)
    part.dtype = <fa_dtype><int>_packed.FORMATS[kind][0]
    return 0


def top_k(
    Program program not None, queries, list corpus, scores, indices, *, bint cosine=False
):
    """Add the search for the best rows, with room for those of each task."""
    cdef fa_top_k_plan *plan = <fa_top_k_plan *>program.allocate(sizeof(fa_top_k_plan))
    cdef Py_buffer *query_view = program.matrix(queries, "queries", -1, -1)
    cdef Py_buffer *score_view = program.view(scores, "scores", "float32", 3, True)
    cdef Py_buffer *index_view = program.view(indices, "indices", "int64", 3, True)
    cdef PackedMatrix packed
    cdef int64_t i
    plan.num_queries, plan.dim = query_view.shape[0], query_view.shape[1]
    plan.tasks, plan.k = score_view.shape[0], score_view.shape[2]
    shape = plan.tasks, plan.num_queries, plan.k
    if not scores.shape == indices.shape == shape or not (plan.tasks and plan.k):
        raise ValueError(
            f"scores and indices must have shape {shape} and be not empty, "
            f"got {scores.shape} and {indices.shape}"
        )
    if not scores.flags.c_contiguous or not indices.flags.c_contiguous:
        raise ValueError("scores and indices must be contiguous")
    plan.scores, plan.indices = <float *>score_view.buf, <int64_t *>index_view.buf
    cdef fa_corpus_part *parts = <fa_corpus_part *>program.allocate(
        sizeof(fa_corpus_part), len(corpus)
    )
    for i in range(len(corpus)):
        parts[i].first = plan.rows
        set_part(program, corpus[i], plan.dim, &parts[i])
        plan.rows += parts[i].rows
    plan.parts, plan.cosine = parts, cosine
    if plan.num_queries > FA_FEW_QUERIES:
        packed = empty_packed(plan.num_queries, plan.dim, temporary=True)
        pack(program, queries, packed)
        plan.panels = packed.panels
    else:
        if plan.num_queries > 1 and row_stride(query_view) != plan.dim:
            raise ValueError("queries must be contiguous")
        plan.queries = <const float *>query_view.buf
    # Few queries take as long as 16: they wait for the rows.
    cdef double work = <double>plan.rows * max(plan.num_queries, 16) * plan.dim
    program.add(&kernels().top_k, plan, work)
    work = <double>plan.tasks * plan.num_queries * plan.k
    program.add(&kernels().top_k_merge, plan, work)
