"""Run `python -m yt8m_ensemble` as `yt8m-ens`."""

from yt8m_ensemble.cli.root import main

if __name__ == "__main__":
    main()
