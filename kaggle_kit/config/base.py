"""The base class of all config sections, and types that several sections use."""

from typing import Annotated

import pydantic
from pydantic import Field

# Upper bound of settings without a natural one: products and sums of them stay finite.
LARGEST = 1_000_000
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
Exponent = Annotated[float, Field(ge=1, le=LARGEST)]
Side = Annotated[int, Field(ge=32, le=2048)]  # pixels


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable text on one line")
    return text


Text = Annotated[str, pydantic.AfterValidator(_printable)]


class Settings(pydantic.BaseModel):
    """A section of a config: it is immutable and refuses unknown settings."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
