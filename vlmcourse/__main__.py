"""python -m vlmcourse: the same as the command vlmcourse (what `accelerate launch -m` needs)."""

from vlmcourse.cli import main

if __name__ == "__main__":
    main()
