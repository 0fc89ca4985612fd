"""The recipe with nothing in it that has a default."""

SMALLEST = """\
name: flowers
data:
  images: photos
teacher:
  model: vit_tiny_patch16_224
student:
  model: mobilenetv3_small_050
"""
