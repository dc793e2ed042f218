"""One pass of the reconciler over many active runs, of an older release and of this one."""
