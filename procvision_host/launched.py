"""The program that a runner launches: `python -I -S …/procvision_host/launched.py --algo NAME`.

With -S no `.pth` file and no `sitecustomize` of any installed package runs in the launched process, with -I neither the
working folder nor PYTHONPATH is on its path. The cell makes up for both after the fork.
Warning: nothing is imported here that the hello doesn't need.
"""

import sys

if __name__ == "__main__":  # a process that the algorithm spawns imports its parent's program under another name
    sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

    from procvision_host.__main__ import main

    main()
