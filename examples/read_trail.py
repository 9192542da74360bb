"""Reading the trail: by row, by table, by user, by time, and as typed values."""

from datetime import UTC, datetime, timedelta

import cmcore
from cmcore.models import AuditLog, Customer, User

NO_LOGIN = "!no password fits this"


def main() -> None:
    """Make a little history, then ask the questions that an auditor asks."""
    db = cmcore.connect(":memory:")
    cmcore.migrate(db)
    started = datetime.now(UTC)
    with cmcore.acting_as("system"):
        eva, max_ = (
            User.create(
                email=f"{name}@example.org",
                full_name=f"{name} Example",
                password_hash=NO_LOGIN,
            )
            for name in ("Eva", "Max")
        )
    with cmcore.acting_as(eva, ip_address="203.0.113.7", ticket=4711):
        ada = Customer.create(id="ada", name="Ada", email="Ada@Example.org")
        cmcore.record(
            "data_export",
            resource_type="customers",
            description="All customers, as CSV",
        )
    with cmcore.acting_as(max_):
        ada.city = "London"
        ada.save()

    print("What happened to Ada?")
    for entry in ada.history():
        print(f"  {entry.action} by {entry.user_email} from {entry.ip_address}")

    print("What did Eva do, and why?")
    for entry in AuditLog.by_user(eva):
        print(f"  {entry.action}: {entry.description} {entry.extra_data}")

    print("Which columns of customers changed in the last hour?")
    an_hour = AuditLog.between(started - timedelta(hours=1), datetime.now(UTC))
    for entry in an_hour.where(
        AuditLog.resource_type == "customers", AuditLog.action == "update"
    ):
        print(f"  {sorted(entry.new_values)}")

    print("When exactly was Ada entered? Values come back with their types.")
    created = AuditLog.for_instance(ada).where(AuditLog.action == "create").get()
    text = created.new_values["created_at"]
    moment = cmcore.values.decode(Customer.created_at, text)
    print(f"  {type(text).__name__} -> {type(moment).__name__} in {moment.tzinfo}")
    db.close()


if __name__ == "__main__":
    main()
