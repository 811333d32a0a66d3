"""Sessions of one tenant: what they keep, what they undo, and whom they refuse."""

# ruff: noqa: PT012 - what is undone or refused is a whole block
from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from canaries import item, owner
from house import House

from tenantry.errors import DeclarationError, NoTenant, TenantNotActive, TenantNotFound
from tenantry.tenant import Tenant, TenantStatus


def add(session: sa.orm.Session, *bodies: str) -> None:
    for body in bodies:
        session.execute(sa.insert(item).values(body=body))


@pytest.fixture
def tenants(house: House) -> House:
    house.provision("acme", "beta")
    return house


@pytest.fixture
def acme(schemas: House) -> House:
    schemas.provision("acme", "beta")
    return schemas


def test_each_session_sees_its_own_tenant(tenants: House) -> None:
    for _ in range(3):
        for slug in ("acme", "beta"):
            with tenants.tenancy.session(slug) as session:
                assert session.scalars(owner).all() == [slug]


def test_session_commits_at_the_end(tenants: House) -> None:
    with tenants.tenancy.session("acme") as session:
        add(session, "one")

    assert tenants.bodies("acme") == ["one"]
    assert tenants.bodies("beta") == []


def test_session_rolls_back_when_an_exception_leaves_it(tenants: House) -> None:
    with pytest.raises(ZeroDivisionError), tenants.tenancy.session("acme") as session:
        add(session, "lost")
        _ = 1 / 0

    assert tenants.bodies("acme") == []


def test_session_that_does_nothing_ends_quietly(tenants: House) -> None:
    with tenants.tenancy.session("acme"):
        pass


def test_commit_in_the_middle_keeps_the_tenant(tenants: House) -> None:
    with pytest.raises(ZeroDivisionError), tenants.tenancy.session("acme") as session:
        add(session, "kept")
        session.commit()
        assert session.scalars(owner).all() == ["acme"]
        add(session, "lost")
        _ = 1 / 0

    assert tenants.bodies("acme") == ["kept"]


def test_rollback_in_the_middle_keeps_the_tenant(tenants: House) -> None:
    with tenants.tenancy.session("acme") as session:
        add(session, "lost")
        session.rollback()
        assert session.scalars(owner).all() == ["acme"]
        add(session, "kept")

    assert tenants.bodies("acme") == ["kept"]


def test_commit_sent_as_sql_keeps_the_tenant(acme: House) -> None:
    with acme.tenancy.session("acme") as session:
        add(session, "kept")
        for statement in ("COMMIT", "ROLLBACK", "COMMIT"):
            session.execute(sa.text(statement))
            assert session.scalars(owner).all() == ["acme"]
            assert session.scalar(sa.text("SELECT current_user")) == acme.tenancy.get("acme").role
        add(session, "kept too")

    assert acme.bodies("acme") == ["kept", "kept too"]


def test_savepoints_undo_their_own_work_only(tenants: House) -> None:
    with tenants.tenancy.session("acme") as session:
        add(session, "before")
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            add(session, "undone")
            _ = 1 / 0
        with session.begin_nested():
            assert session.scalars(owner).all() == ["acme"]
            with session.begin_nested() as inner:
                add(session, "undone too")
                inner.rollback()
            add(session, "kept")
        assert session.scalars(owner).all() == ["acme"]

    assert tenants.bodies("acme") == ["before", "kept"]


def test_first_statement_may_be_a_savepoint(tenants: House) -> None:
    with tenants.tenancy.session("acme") as session, session.begin_nested():
        assert session.scalars(owner).all() == ["acme"]


def test_first_statement_may_be_many(tenants: House) -> None:
    """psycopg sends an executemany through a pipeline, where a message holds one command."""
    for _ in range(8):  # past the threshold of prepared statements
        with tenants.tenancy.session("acme") as session:
            session.execute(sa.text("INSERT INTO item (body) VALUES (:body)"), [{"body": "a"}, {"body": "b"}])

    assert tenants.bodies("acme") == ["a", "b"] * 8
    assert tenants.bodies("beta") == []


def test_many_on_a_missing_tenant_role_writes_nothing(acme: House) -> None:
    """In a pipeline the statements follow the route before its answer is known."""
    role = acme.tenancy.get("acme").role
    with acme.admin() as admin:
        admin.execute("CREATE TABLE item (id serial, body text)")  # in public, where the owner would find it
        admin.execute(f'ALTER ROLE "{role}" RENAME TO elsewhere')
        try:
            with pytest.raises(sa.exc.DBAPIError), acme.tenancy.session("acme") as session:
                session.execute(sa.text("INSERT INTO item (body) VALUES (:body)"), [{"body": "a"}, {"body": "b"}])
            assert admin.execute("SELECT count(*) FROM public.item").fetchone() == (0,)
            assert admin.execute("SELECT count(*) FROM org_acme.item").fetchone() == (0,)
        finally:
            admin.execute(f'ALTER ROLE elsewhere RENAME TO "{role}"')


def test_rows_may_be_streamed_and_copied(acme: House) -> None:
    with acme.tenancy.session("acme") as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy("COPY item (body) FROM STDIN") as copy:
            copy.write_row(("copied",))
    with acme.tenancy.session("acme") as session:
        found = session.connection(execution_options={"stream_results": True}).execute(sa.select(item.c.body))
        assert found.scalars().all() == ["copied"]
    with acme.tenancy.session("beta") as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor:
            assert list(cursor.stream("SELECT owner FROM canary")) == [("beta",)]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_isolation_level_travels_with_the_tenant(acme: House, level: str) -> None:
    with acme.tenancy.session("acme") as session:
        session.connection(execution_options={"isolation_level": level})
        assert session.scalars(owner).all() == ["acme"]
        assert session.scalar(sa.text("SHOW transaction_isolation")) == level.lower()
    with acme.tenancy.session("beta") as session:
        assert session.scalar(sa.text("SHOW transaction_isolation")) == "read committed"
        assert session.scalars(owner).all() == ["beta"]


def test_read_only_transaction_refuses_writes(acme: House) -> None:
    with pytest.raises(sa.exc.InternalError, match="read-only"), acme.tenancy.session("acme") as session:
        session.connection(execution_options={"postgresql_readonly": True})
        assert session.scalars(owner).all() == ["acme"]
        add(session, "refused")
    with acme.tenancy.session("beta") as session:
        add(session, "written")


def test_serializable_conflict_is_told_and_can_be_tried_again(acme: House) -> None:
    def increase(barrier: threading.Barrier | None) -> None:
        with acme.tenancy.session("acme") as session:
            session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
            count = session.scalar(sa.select(sa.func.count()).select_from(item))
            if barrier is not None:
                barrier.wait(10)
            add(session, str(count))

    refused = []

    def attempt(barrier: threading.Barrier) -> None:
        try:
            increase(barrier)
        except sa.exc.OperationalError as error:
            refused.append(error)
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join(10)  # against one that is still under way it would be refused again
            increase(None)

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=attempt, args=(barrier,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 1
    assert sorted(acme.bodies("acme")) == ["0", "1"]


def test_autocommit_is_refused_and_leaves_the_connection_usable(acme: House) -> None:
    with acme.admin() as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS public.item (id serial, body text)")
    for _ in range(3):
        with pytest.raises(DeclarationError, match="AUTOCOMMIT"), acme.tenancy.session("acme") as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            add(session, "refused")
        with acme.tenancy.session("beta") as session:
            assert session.scalars(owner).all() == ["beta"]
    with acme.admin() as admin:
        assert admin.execute("SELECT count(*) FROM public.item").fetchone() == (0,)
    assert acme.bodies("acme") == []


def test_autocommit_set_on_the_driver_is_refused(acme: House) -> None:
    with pytest.raises(DeclarationError, match="AUTOCOMMIT"), acme.tenancy.session("acme") as session:
        session.connection().connection.driver_connection.autocommit = True  # type: ignore[union-attr]
        session.scalar(owner)
    with acme.tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]


def test_two_phase_transactions_are_refused(tenants: House) -> None:
    tenancy = tenants.tenancy
    with (
        tenancy.store.engine(tenancy.get("acme")).connect() as connection,
        pytest.raises((DeclarationError, NotImplementedError)),
        connection.begin_twophase(),
    ):
        connection.execute(sa.text("SELECT 1"))
    with tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]


def test_driver_begins_no_transaction_past_the_route(acme: House) -> None:
    """psycopg has a way of its own to begin one; it does not run as the owner."""
    with pytest.raises(DeclarationError, match="driver's own"), acme.tenancy.session("acme") as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        with driver.transaction():
            driver.execute("SELECT 1")

    with acme.tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]
        driver = session.connection().connection.driver_connection
        assert driver is not None
        with driver.transaction():  # inside the tenant's own it is a savepoint
            assert driver.execute("SELECT owner FROM canary").fetchall() == [("beta",)]


def test_connection_made_anew_keeps_the_route(acme: House) -> None:
    tenancy = acme.tenancy
    with tenancy.store.engine(tenancy.get("acme")).connect() as connection:
        assert connection.scalar(owner) == "acme"
        connection.invalidate()
        connection.rollback()
        assert connection.scalar(owner) == "acme"


def test_raw_connection_of_a_tenant_is_the_tenants(acme: House) -> None:
    tenancy = acme.tenancy
    with tenancy.session("beta") as session:
        session.scalar(owner)
    raw = tenancy.store.engine(tenancy.get("acme")).raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("SELECT owner FROM canary")
        assert cursor.fetchall() == [("acme",)]
    finally:
        raw.close()


def test_connection_taken_from_the_pool_by_another_way_does_nothing(acme: House) -> None:
    engine = acme.tenancy.store.engine(acme.tenancy.get("acme"))
    taken = engine.pool.connect()
    try:
        with pytest.raises(NoTenant):
            taken.cursor().execute("SELECT 1")
    finally:
        taken.close()


# -- whom they refuse


def test_unknown_tenant_is_not_found(tenants: House) -> None:
    with pytest.raises(TenantNotFound, match="Tenant slug 'nobody' not found"), tenants.tenancy.session("nobody"):
        pytest.fail("entered")


@pytest.mark.parametrize("slug", ["", "Acme", "acme ", "../acme", 'acme"', "acme\0", "x" * 300])
def test_name_that_is_none_is_not_found(tenants: House, slug: str) -> None:
    with pytest.raises(TenantNotFound), tenants.tenancy.session(slug):
        pytest.fail("entered")


def put(house: House, slug: str, status: TenantStatus) -> Tenant:
    """Another process gives the tenant a status, whatever it is now."""
    registry = house.tenancy.registry
    table = registry._tables.tenant
    with house.tenancy.store.control_engine().begin() as connection:
        connection.execute(sa.update(table).where(table.c.slug == slug).values(status=status.value))
    return house.tenancy.get(slug)


@pytest.mark.parametrize("status", [status for status in TenantStatus if status is not TenantStatus.ACTIVE])
def test_tenant_that_is_not_active_is_refused(tenants: House, status: TenantStatus) -> None:
    put(tenants, "acme", status)
    for _ in range(2):
        with pytest.raises(TenantNotActive) as refused, tenants.tenancy.session("acme"):
            pytest.fail("entered")
        assert str(refused.value).startswith(f"Tenant 'acme' is not active (status={status.value}).")
        assert refused.value.args == ("acme", status.value)


def test_tenant_made_active_by_this_process_is_served_at_once(tenants: House) -> None:
    put(tenants, "acme", TenantStatus.SUSPENDED)
    with pytest.raises(TenantNotActive), tenants.tenancy.session("acme"):
        pytest.fail("entered")

    tenants.tenancy.activate("acme")

    with tenants.tenancy.session("acme") as session:
        assert session.scalars(owner).all() == ["acme"]


def test_tenant_removed_by_this_process_is_gone_at_once(tenants: House) -> None:
    tenancy = tenants.tenancy
    with tenancy.session("acme"):
        pass
    put(tenants, "acme", TenantStatus.FAILED)

    tenancy.cleanup("acme")

    with pytest.raises(TenantNotFound), tenancy.session("acme"):
        pytest.fail("entered")


def test_status_changed_by_another_process_is_seen_within_the_remembered_time(tenants: House) -> None:
    here, other = tenants.open(remembered=0.3), tenants.open()
    with here.session("acme"):
        pass

    other.registry.set_status(other.get("acme"), TenantStatus.SUSPENDED)

    with here.session("acme"):
        pass  # still remembered
    threading.Event().wait(0.35)
    with pytest.raises(TenantNotActive), here.session("acme"):
        pytest.fail("entered")


def test_status_changed_while_it_is_being_read_is_not_remembered(tenants: House) -> None:
    tenancy = tenants.open(remembered=60)
    read, sessions = tenancy.registry.get, tenancy._sessions

    def get_and_be_overtaken(slug: str) -> Tenant:
        found = read(slug)
        put(tenants, slug, TenantStatus.FAILED)
        tenancy.registry.get = read  # type: ignore[method-assign]
        tenancy.cleanup(slug)
        return found

    tenancy.registry.get = get_and_be_overtaken  # type: ignore[method-assign]
    sessions.tenant("acme")

    with pytest.raises(TenantNotFound), tenancy.session("acme"):
        pytest.fail("entered")


def test_remembered_tenants_are_asked_for_once(tenants: House) -> None:
    tenancy = tenants.open(remembered=60)
    asked = []
    read = tenancy.registry.get
    tenancy.registry.get = lambda slug: asked.append(slug) or read(slug)  # type: ignore[func-returns-value, method-assign]

    for slug in ("acme", "beta") * 5:
        with tenancy.session(slug) as session:
            assert session.scalar(owner) == slug

    assert asked == ["acme", "beta"]


def test_session_error_leaves_the_pool_whole(tenants: House) -> None:
    for _ in range(40):
        with pytest.raises(sa.exc.DBAPIError), tenants.tenancy.session("acme") as session:
            session.execute(sa.text("SELECT * FROM nowhere"))
    with tenants.tenancy.session("beta") as session:
        assert session.scalars(owner).all() == ["beta"]


def test_write_session_reads_first_and_writes_later(tenants: House) -> None:
    with tenants.tenancy.session("acme", write=True) as session:
        assert session.scalars(owner).all() == ["acme"]
        with tenants.tenancy.session("acme") as other:
            assert other.scalars(owner).all() == ["acme"]
        add(session, "written")

    assert tenants.bodies("acme") == ["written"]
