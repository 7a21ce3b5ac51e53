"""An upload to the hub: what is deleted there."""

from pipeline.hub import push_folder


class Client:
    """In place of the hub's client."""

    def __init__(self, error=None):
        self.error, self.sent = error, {}

    def create_repo(self, repo_id, **options):
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **options):
        if self.error:
            raise self.error
        self.sent = options


def test_what_an_earlier_upload_left_is_deleted(tmp_path):
    client = Client()
    assert push_folder(tmp_path, "me/reviews", "Export", ("adapter_config.json",), client) == "https://hub.example/me/reviews"
    assert client.sent["delete_patterns"] == ["adapter_config.json"]
