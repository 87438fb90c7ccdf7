"""Dense 3D convolutions."""

import jax


def conv3d(x_BTHWC, kernel_TxHxWxIxO, strides=(1, 1, 1)):
    return jax.lax.conv_general_dilated(
        x_BTHWC,
        kernel_TxHxWxIxO,
        strides,
        [(k // 2, k // 2) for k in kernel_TxHxWxIxO.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


def pointwise_conv3d(x_BTHWC, kernel_IxO):
    return x_BTHWC @ kernel_IxO
