"""The gateway: a host of ours to the runner, and the runner of an adapter of the field's, which is its child.

    runner ── our wire ──> python -m procvision_compat.gateway ── theirs ──> python -m procvision_algorithm_sdk.adapter

dialect     their frames as our messages and back
pictures    pictures of our slots as the files that they read
guides      guide pictures, by session and step
calls       what becomes of one call on its way there, and of its answer on its way back
adapter     the child process and its end
log         what is said beside the frames
conversation  the loop between the two
"""
