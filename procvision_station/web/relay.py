"""Brings what changed of the accounts into the ledger: the line's process writes it into the station's journal.

While no line runs it waits in the accounts' file. One that was written and not yet taken off when the page was killed
is sent again: its number says that it is the same.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from procvision_station.control import Action, ControlError, send
from procvision_station.web.accounts import Accounts

EVERY_S = 1.0


class Relay:
    """Sends the accounts' events to the line's process, in their order."""

    def __init__(self, accounts: Accounts, data_folder: Path) -> None:
        self._accounts, self._data = accounts, data_folder

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.to_thread(self.send_all)
            await asyncio.sleep(EVERY_S)

    def send_all(self) -> int:
        """Send what waits as long as it is taken; return how much was."""
        sent = 0
        for number, at, content in self._accounts.events():
            facts = {name: value for name, value in content.items() if name not in ("event", "by")}
            action = Action(
                user=content["by"], event=content["event"], content={**facts, "number": number, "happened": at}
            )
            try:
                send(self._data, action, timeout_s=5.0)
            except ControlError:
                return sent  # later
            self._accounts.sent(number)
            sent += 1
        return sent
