"""The conversions: what each is and needs, whether it can run here, and how it is built.

``catalogue`` and ``names`` say what there is and turn a request into entries, ``availability`` says whether one can
run on this machine, ``plan`` puts the three together. None of them imports torch. ``adapter`` builds a conversion
with Alma, ``native`` one that Alma has not; both belong into a worker process.
"""
