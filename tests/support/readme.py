"""The README's commands, for the tests that check them and those that run them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(?:<!-- (conversation)(?:: (\w+))? -->\n)?```bash\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReadmeCommand:
    """One command as a reader would paste it.

    `conversation`: meant to run in order while `make run` serves. `status`: of a refusal, as grpcurl
    prints it; empty where the command must succeed.
    """

    text: str
    conversation: bool
    status: str

    @property
    def words(self) -> list[str]:
        """As a shell splits it."""
        return shlex.split(self.text)


def commands() -> list[ReadmeCommand]:
    """Every command of the README's ```bash blocks, in order."""
    found = []
    for conversation, status, block in BLOCK.findall(README.read_text()):
        # A command ends at a line end that neither a backslash nor an open quote continues.
        text = ""
        for line in block.splitlines():
            text = f"{text}\n{line}" if text else line
            if not line.endswith("\\") and text.count("'") % 2 == 0:
                found.append(ReadmeCommand(text, bool(conversation), status))
                text = ""
    return found
