"""What runs on the device: numpy, Pillow and one backend. Never torch.

`import runtime` imports nothing heavy; a backend is imported when a session is opened.
"""

__version__ = "0.1.0"
