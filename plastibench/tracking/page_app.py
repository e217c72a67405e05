"""MLflow's own server, whose page opens without the panel of its assistant.

On a machine's own address the page opens that panel at its first visit, over a third of the table. MLflow
has no option for that: the page keeps in the browser that it has done so, and this application says it in
advance.
`mlflow ui --app-name plastibench` finds it by its entry point.
"""

from flask import Response, request
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app

__all__ = ["app"]

OPENED_ONCE = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
"""Where the page of MLflow 3.17 keeps that the panel has been open; other versions ignore it."""
SCRIPT = f"<script>localStorage.setItem('{OPENED_ONCE}', 'true')</script>"


@flask_app.after_request
def keep_assistant_closed(response: Response) -> Response:
    """Add the script to the page itself; the assistant's button stays."""
    if request.path == "/" and response.mimetype == "text/html" and response.status_code == 200:
        response.direct_passthrough = False  # it is a file
        response.set_data(response.get_data(as_text=True).replace("<head>", f"<head>{SCRIPT}", 1))
        del response.headers["ETag"]  # that of the file
    return response
