"""What the scripts need besides the lesson. No module here knows what a VAE is."""

import os
import signal
import sys


def on_ctrl_c(handler):
    """Has Ctrl-C call `handler`, but where the caller had it ignored, as `&` does."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def end_silently(*_):
    """Amid a script's imports, of which Python would tell in many lines."""
    os._exit(130)  # as shells report Ctrl-C


# From the first moment, but only where a script is run, not where one is imported.
script = getattr(sys.modules["__main__"], "__file__", None) or ""
if os.path.dirname(os.path.realpath(script)) == os.path.dirname(
    os.path.dirname(os.path.realpath(__file__))
):
    on_ctrl_c(end_silently)
