"""The chain that a template's device would have if it had every model in full: for checks before it is reached."""

from __future__ import annotations

from s4g_gateway.profiles.sunspec.chain import BASES, Chain, ChainModel
from s4g_gateway.profiles.sunspec.definition import load_definition
from s4g_gateway.profiles.sunspec.layout import (
    HEADER_REGISTERS,
    compile_layout,
    count_points,
    full_length,
)
from s4g_gateway.profiles.sunspec.mapping import Template, load_mapping

_REPEATS = 4


def nominal_chain(template: Template) -> Chain:
    """Returns a chain with the first model of every mapping file of a template, in order of number.

    Repeating groups stand there four times, as in the largest common map (model 160 of a Fronius GEN24).
    """
    model_ids = sorted({load_mapping(use.mapping).models[0] for use in template.use})
    models = []
    address = BASES[0] + HEADER_REGISTERS
    for model_id in model_ids:
        definition = load_definition(model_id)
        counts = dict.fromkeys(count_points(definition), 1)
        length = full_length(definition, counts, _REPEATS)
        models.append(ChainModel(model_id, address, length, compile_layout(definition, length, counts)))
        address += HEADER_REGISTERS + length
    return Chain(BASES[0], tuple(models))
