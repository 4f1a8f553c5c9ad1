"""What a host hears and says: the loop over its frames, from hello to the last one."""
