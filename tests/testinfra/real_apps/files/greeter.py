"""A page by Shiny, whose values come and go through a WebSocket."""

from shiny import App, render, ui

page = ui.page_fluid(ui.input_text("name", "Name"), ui.output_text("greeting"))


def server(input, output, session):
    @render.text
    def greeting():
        return f"Hello {input.name()}"


app = App(page, server)
