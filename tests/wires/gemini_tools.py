"""The private conversion by which Gemini's client declares tools."""

from langchain_google_genai._function_utils import convert_to_genai_function_declarations

__all__ = ["convert_to_genai_function_declarations"]
