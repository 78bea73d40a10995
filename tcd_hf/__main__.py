"""`python -m tcd_hf` is `tcd-hf`: what launchers of processes start."""

from tcd_hf.cli.main import app

if __name__ == "__main__":
    app()
