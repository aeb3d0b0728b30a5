"""What the numbers of a node mean: the section [nodes], applied to packets and to values."""

from gateway.nodes.decoder import NO_READING, Decoded, Decoder, Nodes, check_id

__all__ = ["NO_READING", "Decoded", "Decoder", "Nodes", "check_id"]
