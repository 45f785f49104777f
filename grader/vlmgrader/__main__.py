"""python -m vlmgrader"""

from vlmgrader.cli import main

main()
