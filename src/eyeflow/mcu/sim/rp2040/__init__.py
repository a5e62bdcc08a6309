"""The RP2040 on rp2040js, an emulator by others: npm package pinned in package-lock.json, patched at run time."""
