"""The part of `requests` that policies use. It imports and behaves; nothing leaves the sandbox."""

import importlib.machinery
import json as _json
import sys
import types

_VERBS = ("get", "post", "put", "delete", "patch", "head", "options")

exceptions = types.ModuleType("requests.exceptions")


class RequestException(IOError):
    def __init__(self, *args, response=None, request=None):
        super().__init__(*args)
        self.response = response
        self.request = request


class JSONDecodeError(RequestException, _json.JSONDecodeError):
    def __init__(self, message, doc="", pos=0, **kwargs):
        _json.JSONDecodeError.__init__(self, message, doc, pos)
        self.response = kwargs.get("response")
        self.request = kwargs.get("request")


def _define(name, *bases):
    made = type(name, bases or (RequestException,), {"__module__": "requests.exceptions"})
    setattr(exceptions, name, made)
    return made


exceptions.RequestException = RequestException
exceptions.JSONDecodeError = JSONDecodeError
exceptions.InvalidJSONError = RequestException
HTTPError = _define("HTTPError")
ConnectionError = _define("ConnectionError")
Timeout = _define("Timeout")
ConnectTimeout = _define("ConnectTimeout", ConnectionError, Timeout)
ReadTimeout = _define("ReadTimeout", Timeout)
SSLError = _define("SSLError", ConnectionError)
ProxyError = _define("ProxyError", ConnectionError)
TooManyRedirects = _define("TooManyRedirects")
InvalidURL = _define("InvalidURL", RequestException, ValueError)
MissingSchema = _define("MissingSchema", RequestException, ValueError)
InvalidSchema = _define("InvalidSchema", RequestException, ValueError)
ChunkedEncodingError = _define("ChunkedEncodingError")


class Response:
    def __init__(self):
        self.status_code = None
        self.headers = {}
        self.content = b""
        self.url = ""
        self.reason = ""
        self.encoding = "utf-8"

    @property
    def ok(self):
        return self.status_code is not None and self.status_code < 400

    @property
    def text(self):
        return self.content.decode(self.encoding or "utf-8", "replace")

    def json(self, **kwargs):
        try:
            return _json.loads(self.text, **kwargs)
        except _json.JSONDecodeError as error:
            raise JSONDecodeError(error.msg, error.doc, error.pos, response=self) from None

    def raise_for_status(self):
        if self.status_code is not None and self.status_code >= 400:
            side = "Client" if self.status_code < 500 else "Server"
            text = "%s %s Error: %s for url: %s" % (self.status_code, side, self.reason, self.url)
            raise HTTPError(text, response=self)


def request(method, url, **kwargs):
    where = str(url)[:200]
    raise ConnectionError("egress denied: %s %s (policies have no network)" % (method.upper(), where))


class Session:
    def __init__(self):
        self.headers = {}
        self.params = {}
        self.auth = None
        self.verify = True

    def request(self, method, url, **kwargs):
        return request(method, url, **kwargs)

    def mount(self, prefix, adapter):
        return None

    def close(self):
        return None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        return False


def _verb_function(verb):
    def call(url, *args, **kwargs):
        return request(verb, url, **kwargs)

    call.__name__ = verb
    return call


def _verb_method(verb):
    def call(self, url, *args, **kwargs):
        return self.request(verb, url, **kwargs)

    call.__name__ = verb
    return call


for _verb in _VERBS:
    setattr(Session, _verb, _verb_method(_verb))


def install():
    """Puts the module in place as `requests`."""
    module = types.ModuleType("requests")
    module.__version__ = "2.32.0"
    module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec("requests", None, is_package=True)
    module.exceptions = exceptions
    for made in (RequestException, JSONDecodeError, Response, Session):
        made.__module__ = "requests"
    for name in ("RequestException", "HTTPError", "ConnectionError", "Timeout", "ConnectTimeout", "ReadTimeout"):
        setattr(module, name, getattr(exceptions, name))
    module.JSONDecodeError = JSONDecodeError
    module.TooManyRedirects = TooManyRedirects
    module.Response = Response
    module.Session = module.session = Session
    module.request = request
    for verb in _VERBS:
        setattr(module, verb, _verb_function(verb))
    sys.modules["requests"] = module
    sys.modules["requests.exceptions"] = exceptions
