"""What all sections of a config are made of: their rules, and types that come often."""

from typing import Annotated

import pydantic
from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=32, le=2048)]  # pixels


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected text that can be printed on one line")
    return text


Text = Annotated[str, pydantic.AfterValidator(_printable)]


class Settings(pydantic.BaseModel):
    """A section: only the settings that it names, and never changed in place."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
