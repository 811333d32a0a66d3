"""``process`` and ``work``: which processors a tenant has, what goes to them, and running them."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from docex.cli.opening import LimitOption, TenantOption, opened, parsed
from docex.cli.output import Format, FormatOption, print_rows
from tenantry.cli import group, say
from tenantry.cli.output import print_json

COLUMNS = ("name", "type", "registered", "enabled", "description")
RULE_COLUMNS = ("id", "processor", "name_pattern", "content_type", "document_type", "basket_id", "priority")
OPERATION_COLUMNS = ("created_at", "processor", "document_id", "status", "error")

NameOption = Annotated[str, typer.Option("--name", help="The processor.")]

app = group("Take text and data out of documents.")


@app.command("list")
def list_processors(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """List the processors that are known here, and how the tenant has them; of one that cannot be loaded, why."""
    from docex.config.docex_config import DocEXConfig
    from docex.processors.factory import factory

    known, broken = factory.look(DocEXConfig().validate().processing.processors)
    have = {record.name: record for record in opened(tenant_id).list_processors()}
    rows = []
    for name in sorted({*known, *broken, *have}):
        record = have.get(name)
        about = (known[name].__doc__ or "").strip().partition("\n")[0] if name in known else "not known here"
        own = record.description if record else None
        rows.append(
            {
                "name": name,
                "type": record.type if record else "",
                "registered": record is not None,
                "enabled": record.enabled if record else None,
                "config": dict(record.config) if record else None,
                "description": f"broken: {broken[name].args[1]}" if name in broken else own or about,
                "broken": name in broken,
            }
        )
    print_rows(rows, format, columns=COLUMNS, simple=("name", "enabled"))


@app.command("register")
def register_processor(
    name: NameOption,
    tenant_id: TenantOption = None,
    type: Annotated[str, typer.Option(help="What kind of processor it is.")] = "custom",
    description: Annotated[str | None, typer.Option(help="What it does.")] = None,
    config: Annotated[str, typer.Option(help="Its configuration as a JSON object.")] = "{}",
) -> None:
    """Make a processor known to the tenant, or change its configuration.

    Example: docex process register --name CSVToJSONProcessor --config '{"delimiter": ";"}'
    """
    record = opened(tenant_id).register_processor(name, type, description, parsed(config, "--config"))
    print(f"{record.id}\t{record.name}")


@app.command("enable")
def enable_processor(name: NameOption, tenant_id: TenantOption = None) -> None:
    """Let a processor be used."""
    opened(tenant_id).enable_processor(name)
    say(f"Processor '{name}' is enabled.")


@app.command("disable")
def disable_processor(name: NameOption, tenant_id: TenantOption = None) -> None:
    """Let a processor be used no more."""
    opened(tenant_id).enable_processor(name, enabled=False)
    say(f"Processor '{name}' is disabled.")


@app.command("run")
def run_processor(
    document_id: Annotated[str, typer.Option(help="The document.")],
    tenant_id: TenantOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The processor. Default: as the rules say.")] = None,
) -> None:
    """Run a processor on a document and print what came out."""
    from docex.errors import DocexError

    result = opened(tenant_id).process_document(document_id, name)
    if not result.success:
        raise DocexError(f"The document was not processed: {result.error or 'no reason was given'}")
    print_json({"content": result.content, "metadata": result.metadata})


@app.command("rule-add")
def add_rule(
    name: NameOption,
    tenant_id: TenantOption = None,
    pattern: Annotated[str | None, typer.Option(help="Of the document's name: '*.pdf'.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Of the document: application/pdf.")] = None,
    document_type: Annotated[str | None, typer.Option(help="Of the document.")] = None,
    basket_id: Annotated[str | None, typer.Option(help="The basket it lies in.")] = None,
    priority: Annotated[int, typer.Option(help="The highest first.")] = 0,
) -> None:
    """Have the worker give documents that meet every condition to a processor; print the rule's id."""
    rule = opened(tenant_id).add_processing_rule(
        name,
        name_pattern=pattern,
        content_type=content_type,
        document_type=document_type,
        basket_id=basket_id,
        priority=priority,
    )
    print(f"{rule.id}\t{rule.processor}")


@app.command("rule-list")
def list_rules(tenant_id: TenantOption = None, format: FormatOption = Format.TABLE) -> None:
    """List the rules, those of higher priority first."""
    rows = [vars(rule) for rule in opened(tenant_id).list_processing_rules()]
    print_rows(rows, format, columns=RULE_COLUMNS, simple=("id", "processor"))
    if not rows:
        say("No rules found.")


@app.command("rule-remove")
def remove_rule(rule_id: Annotated[str, typer.Option(help="The rule.")], tenant_id: TenantOption = None) -> None:
    """Remove a rule."""
    from docex.errors import DocexError

    if not opened(tenant_id).remove_processing_rule(rule_id):
        raise DocexError(f"Rule {rule_id!r} not found. `docex process rule-list` shows those that exist.")
    say(f"Rule {rule_id} is removed.")


@app.command("operations")
def list_operations(
    tenant_id: TenantOption = None,
    document_id: Annotated[str | None, typer.Option(help="Only on this document.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only of this processor.")] = None,
    limit: LimitOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List what processors did, newest first."""
    rows = opened(tenant_id).list_processing_operations(document_id, name, limit)
    print_rows(rows, format, columns=OPERATION_COLUMNS, simple=("id", "status"))
    if not rows:
        say("No operations found.")


def work(
    tenant_id: Annotated[
        list[str] | None, typer.Option("--tenant-id", help="A tenant; may be given several times.")
    ] = None,
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="All tenants that are active now.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is pending.")] = False,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Give new and changed documents to the processors that the rules name, until stopped (Ctrl-C, SIGTERM).

    Several may run at once: each event is given to one of them, and to another if that one dies.
    """
    from docex.worker import Worker

    wanted: list[str | None] = list(tenant_id or ())
    if all_tenants:
        from docex.tenancy import configured, tenants

        wanted = [tenant.slug for tenant in tenants(configured()) if tenant.status == "active"]
    worker = Worker([opened(tenant) for tenant in wanted or [None]])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    drained = worker.run(once=once, interval=interval)
    shown = " Why shows: docex process operations" if drained.failures else ""
    say(f"{drained.events} event(s), {drained.runs} run(s), {drained.failures} failure(s).{shown}")
