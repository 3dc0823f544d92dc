"""The catalogue as text: what ``s4g interfaces`` prints. Pure functions of a Catalogue."""

from s4g_gateway.interfaces.render.as_asyncapi import asyncapi_document, render_asyncapi
from s4g_gateway.interfaces.render.as_json import json_document, render_json
from s4g_gateway.interfaces.render.as_markdown import render_markdown

__all__ = ["asyncapi_document", "json_document", "render_asyncapi", "render_json", "render_markdown"]
