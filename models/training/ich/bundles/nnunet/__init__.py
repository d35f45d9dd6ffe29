"""Turns a trained nnU-Net v2 result folder into a bundle, without nnU-Net itself.

    folder      plans.json, dataset.json, fold_<n>/checkpoint_final.pth
    plans       what the folder says, or one line why ichor cannot run it
    unet        nnU-Net's two networks, built from the plans
    checkpoint  weights only; nothing of a checkpoint is executed
    bundle      ONNX files, manifest, reference, card
"""
