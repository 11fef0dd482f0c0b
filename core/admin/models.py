"""The catalogue of models, as operators see it."""

import orjson

from core.admin.answers import answers
from core.admin.desk import Subject
from proto.onysoft.v1 import admin_pb2 as pb


class Models(Subject):
    """What operators do to the catalogue."""

    @answers
    async def ListModels(self, request: pb.ListModelsRequest) -> pb.ModelList:
        entries = sorted(self.desk.catalogue.entries.values(), key=lambda entry: entry.id)
        return pb.ModelList(
            models=[
                pb.Model(
                    id=entry.id,
                    name=entry.name,
                    provider=", ".join(route.provider.name for route in entry.routes),
                    context_length=entry.context_length,
                    max_output_tokens=entry.output_tokens_max,
                    price_json=orjson.dumps(entry.pricing),
                    price_version=entry.price.version,
                    free=entry.price.free,
                )
                for entry in entries
            ]
        )
