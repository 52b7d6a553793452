"""The `medsage` command.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or unusable settings, 3 no server answers.
"""

import typer

from deploy.commands import bench, demo, dev, importing, models, serve, user

app = typer.Typer(
    name="medsage",
    help="FHIR R4 server and SMART app: smear image in, signed report out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve", epilog=serve.EXAMPLE)(serve.serve)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("import", epilog=importing.EXAMPLE)(importing.import_bundles)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)
app.add_typer(models.app, name="models")
app.add_typer(user.app, name="user")
app.add_typer(dev.app, name="dev")


def main() -> None:
    """Entry point of the installed command."""
    app()
