"""Figures that others publish, to stand beside ours: nothing here was measured by a run of this repository.

The systems are those of the four student reports that the notebooks rebuild.
"""

SYSTEMS = {
    "S1": "COCO cGAN from scratch, 8,000 training photographs",
    "S2": "S1 trained for 100 to 120 epochs in several parts",
    "S3": "ImageNet cGAN; a ResNet18 encoder, L1 first, then GAN training",
    "S4": "CIFAR-10 cGAN at 32×32, RGB, with a cosine term",
}

LOSSES = ["loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G"]
# Training logs that the reports on S1 and S2 print, in the order of LOSSES: COCO at 256 px, batches of 16.
PRINTED_LOSSES = {
    "S1, its report, epoch 1, iteration 200 of 500": [0.45000, 0.46979, 0.45990, 1.62204, 9.64994, 11.27198],
    "S1, its report, epoch 1, iteration 400 of 500": [0.47620, 0.49065, 0.48342, 1.55394, 9.96936, 11.52330],
    "S2, its report, epoch 1, iteration 250 of 500": [0.49720, 0.50376, 0.50048, 1.44020, 9.46268, 10.90288],
    "S2, its report, epoch ~93, iteration 250 of 500": [0.50930, 0.51804, 0.51367, 1.37065, 8.04603, 9.41669],
}

# What the reports say about time, in their own terms. The report on S3 contradicts itself: 4,000 photographs in batches
# of 16 are 250 iterations, and its bar shows 50.
PRINTED_TIMES = {
    "S1": "30.28 s an iteration of 16 at 256 px; hardware not stated, a CPU by its speed",
    "S2": "10 to 12 h for 100 to 120 epochs; hardware not stated",
    "S3": "1.60 s an iteration at 256 px; Colab and a GTX 1650 are both named",
}

# The report on S4 gives no figure. These are of another GAN on CIFAR-10: Nazeri et al., arXiv:1803.05400, not checked
# in the paper.
NAZERI = {"val_mae": 5.1, "val_within_2": 0.241, "val_within_5": 0.655}
