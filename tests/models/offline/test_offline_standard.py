from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from models.providers.offline import OfflinePlanner, OfflineWriter


class TestOfflinePlannerKeepsTheStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return OfflinePlanner

    @property
    def has_structured_output(self):
        return False  # rules fill no schema


class TestOfflineWriterKeepsTheStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return OfflineWriter

    @property
    def has_tool_calling(self):
        return False  # it writes; it is never given tools

    @property
    def has_structured_output(self):
        return False  # rules fill no schema


class TestOfflineWriterStreamsAndCounts(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return OfflineWriter
