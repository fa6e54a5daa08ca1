"""`python -m entrepot` is `entrepot`."""

from entrepot.cli.main import main

raise SystemExit(main())
