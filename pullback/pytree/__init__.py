"""Pytrees: nested containers of leaves, taken apart before tracing and put together after it.

`registry` knows the node types, `treedef` describes a structure, `flatten` takes trees apart,
`paths` names places in them, `prefix` relates a tree to one that refines it, `operations` maps and
reduces, `partial` is a function as a tree.  The public faces are `pullback.tree` and
`pullback.tree_util`.
"""
