//! The numbers of Curve25519 and its group, RFC 8032, 5.1. Little-endian words.

use crate::field::Words;

/// The prime 2^255 - 19.
pub const P: Words = [0xFFFFFFED, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF];
/// The order of the base point.
pub const L: Words = [0x5CF5D3ED, 0x5812631A, 0xA2F79CD6, 0x14DEF9DE, 0x00000000, 0x00000000, 0x00000000, 0x10000000];
/// d of the curve -x^2 + y^2 = 1 + d x^2 y^2.
pub const D: Words = [0x135978A3, 0x75EB4DCA, 0x4141D8AB, 0x00700A4D, 0x7779E898, 0x8CC74079, 0x2B6FFE73, 0x52036CEE];
/// 2 d.
pub const D2: Words = [0x26B2F159, 0xEBD69B94, 0x8283B156, 0x00E0149A, 0xEEF3D130, 0x198E80F2, 0x56DFFCE7, 0x2406D9DC];
/// A square root of -1.
pub const ROOT: Words =
    [0x4A0EA0B0, 0xC4EE1B27, 0xAD2FE478, 0x2F431806, 0x3DFBD7A7, 0x2B4D0099, 0x4FC1DF0B, 0x2B832480];
/// x of the base point.
pub const BASE_X: Words =
    [0x8F25D51A, 0xC9562D60, 0x9525A7B2, 0x692CC760, 0xFDD6DC5C, 0xC0A4E231, 0xCD6E53FE, 0x216936D3];
/// y of the base point.
pub const BASE_Y: Words =
    [0x66666658, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666];
/// x y of the base point.
pub const BASE_XY: Words =
    [0xA5B7DDA3, 0x6DDE8AB3, 0x775152F5, 0x20F09F80, 0x64ABE37D, 0x66EA4E8E, 0xD78B7665, 0x67875F0F];
/// (p - 5) / 8: the exponent of a square root.
pub const ROOT_EXPONENT: Words =
    [0xFFFFFFFD, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x0FFFFFFF];
/// p - 2: the exponent of an inverse.
pub const INVERSE_EXPONENT: Words =
    [0xFFFFFFEB, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF];
