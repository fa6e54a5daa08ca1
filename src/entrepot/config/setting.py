"""One setting: what a field of a settings dataclass says about itself."""

from dataclasses import dataclass, field
from typing import Any

from entrepot.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field of a section says about itself.

    `default`, `minimum` and `maximum` are as an operator writes them; `flag` is the option of
    `entrepot serve` that sets it.
    """

    kind: Kind
    default: object
    doc: str
    minimum: object = None
    maximum: object = None
    flag: str | None = None

    def check(self, value: Any) -> Any:
        """Return a value that is within the bounds. Raise ValueError if it is not."""
        if self.minimum is not None and value < self.kind.read(self.minimum):
            raise ValueError(value)
        if self.maximum is not None and value > self.kind.read(self.maximum):
            raise ValueError(value)
        return value

    def allowed(self) -> str:
        """Say what may be given: completes "it must be …"."""
        bounds = self.bounds()
        return f"{self.kind.allowed}, {bounds}" if bounds else self.kind.allowed

    def bounds(self) -> str:
        """Say which values are within the bounds; empty where all are."""
        if self.maximum is None:
            return "" if self.minimum is None else f"at least {self.minimum}"
        if self.minimum is None:
            return f"at most {self.maximum}"
        return f"from {self.minimum} to {self.maximum}"

    def shown(self, value: object) -> object:
        """Return a value as an operator would write it, without secrets."""
        return self.default if value == self.kind.read(self.default) else self.kind.show(value)

    def written(self, value: object) -> object:
        """Do what `shown` does, secrets included."""
        return self.default if value == self.kind.read(self.default) else self.kind.written(value)


def setting(
    kind: Kind,
    default: object,
    doc: str,
    *,
    minimum: object = None,
    maximum: object = None,
    flag: str | None = None,
) -> Any:
    """Declare a field of a section; its default is read as if an operator had written it."""
    described = Setting(kind, default, doc, minimum, maximum, flag)
    default = described.check(kind.read(default))
    return field(default=default, metadata={"setting": described}, repr=not kind.secret)
