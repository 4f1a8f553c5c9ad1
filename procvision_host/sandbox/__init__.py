"""What Linux offers to shut a vendor's process in: rights given up, system calls refused, files and networks hidden."""
