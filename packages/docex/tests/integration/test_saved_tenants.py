"""A tenant's documents go with it into a backup, and come back with it."""

from __future__ import annotations

from docex.tenancy import configured


def test_documents_are_saved_restored_renamed_and_deleted_with_their_tenant(anywhere, tmp_path) -> None:
    place = anywhere.setup()
    basket = place.docex(provision=True).create_basket("papers", "what is kept")
    kept = basket.add(place.file("letter.txt", b"Dear all"), metadata={"kind": "letter"})
    tenancy = configured()
    saved = tenancy.archive.backup("acme-corp", to=tmp_path / "backups")
    assert [(entry.provider, entry.files) for entry in saved.manifest.files] == [("documents", 1)]
    tenancy.archive.archive("acme-corp", to=tmp_path / "archives")
    assert list((place.directory / "storage" / "docex").glob("acme-corp/**/*.*")) == []
    tenancy.archive.unarchive("acme-corp")
    tenancy.archive.rename("acme-corp", "new-corp")
    tenancy.archive.restore(saved.path)
    for tenant in ("new-corp", "acme-corp"):
        document = place.docex(tenant).basket("papers").get_document(kept.id)
        assert document.get_content() == b"Dear all"
    tenancy.archive.archive("new-corp", to=tmp_path / "archives")
    tenancy.archive.delete("new-corp", confirm="new-corp")
    assert not (place.directory / "storage" / "docex" / "new-corp").exists()
