"""A two-alternative forced choice: which of two pictures has the fake colours?

The protocol is that of Zhang et al., "Colorful image colorization", arXiv:1603.08511, section 3.1: each picture is seen
for one second, then there is no limit to answer. `pairs` draws and writes the pictures, `server` shows them and saves
the answers, `results` reads them.
"""
