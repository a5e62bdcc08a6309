"""All firmware that the tests build shares its compiled crates."""

from components.boards import share_compiled_crates

share_compiled_crates()
