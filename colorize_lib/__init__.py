"""Colouring photographs with conditional GANs: the library behind the numbered notebooks."""
