"""The ASGI application: authenticates, bounds and checks requests, calls the handlers, turns refusals into problems."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import changes_api, docs_page, metrics, openapi, pages
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.credentials import actor_of, check_origin, is_tls
from eyeflow.coordinator.endpoints import ENDPOINTS, PROGRAM_MEDIA_TYPE, Endpoint
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.intake import check_program
from eyeflow.coordinator.link import link_endpoint
from eyeflow.coordinator.problem import MEDIA_TYPE, Problem
from eyeflow.coordinator.queries import parse_query
from eyeflow.coordinator.requests import HEADER, request_key
from eyeflow.coordinator.schema import check, parse_json
from eyeflow.coordinator.scopes import guarded
from eyeflow.coordinator.store.cluster_store import ConflictError
from eyeflow.coordinator.tokens import Actor, Role

ANYBODY = Actor("anybody", Role.READ)
BODY_S = 60.0
"""Bound of receiving one body: slow senders, who need no token for that, do not hold the connections of others."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Answers may hold tokens: nothing on the way may keep or reinterpret them."""


def make_app(hub: Hub) -> Starlette:
    """Return the application around `hub`; its lifespan drives deadlines and closes links at the end."""
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    routes: list[BaseRoute] = [
        Route(path, _serve(endpoints), methods=[endpoint.method for endpoint in endpoints])
        for path, endpoints in by_path.items()
    ]
    routes.append(Route(openapi.OPENAPI_PATH, _openapi, methods=["GET"]))
    routes.append(Route(openapi.DOCS_PATH, _docs, methods=["GET"]))
    routes.append(WebSocketRoute("/api/link", link_endpoint))
    routes.append(WebSocketRoute(changes_api.PATH, changes_api.watch_changes))
    app = Starlette(
        routes=routes,
        lifespan=_lifespan,
        exception_handlers={HTTPException: _http_problem, Problem: _problem, EyeflowError: _storage_problem, 500: _bug},
    )
    app.router.redirect_slashes = False
    app.state.hub = hub
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    hub: Hub = app.state.hub
    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(hub.run())
        try:
            yield
        finally:
            hub.close_links()
            ticking.cancel()


def _serve(endpoints: list[Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    by_method = {endpoint.method: endpoint for endpoint in endpoints}

    async def serve(request: Request) -> Response:
        endpoint = by_method["GET" if request.method == "HEAD" else request.method]
        hub: Hub = request.app.state.hub
        check_origin(request)
        await _actor(hub, endpoint, request)
        _check_path(request)
        query = parse_query(endpoint.query, request.query_params.multi_items()) if _is_api(endpoint) else {}
        body = await _body(endpoint, request)
        actor = await _actor(hub, endpoint, request)  # again: the token may have been revoked while the body came
        key = request.headers.get(HEADER) if endpoint.has_key else None
        named = request_key(key, actor.token_id, request.url.path, body)
        call = Call(request.path_params, body, actor, query, named, is_tls(request))
        seen = await guarded(hub, actor, endpoint.method, endpoint.path, request.path_params)
        return _response(await endpoint.handler(seen, call))

    return serve


def _is_api(endpoint: Endpoint) -> bool:
    """What machines ask for from outside may have any parameter: load balancers and Prometheus add their own."""
    return endpoint.path.startswith("/api/")


def _check_path(request: Request) -> None:
    """No name or id has a control character, and not every database takes one."""
    if any(not value.isprintable() for value in request.path_params.values()):
        raise Problem("not_found", "The path has a character that no name and no id has.")


async def _actor(hub: Hub, endpoint: Endpoint, request: Request) -> Actor:
    if endpoint.role is None:
        return ANYBODY
    return await actor_of(hub.tokens, hub.sessions, request, endpoint.role)


async def _body(endpoint: Endpoint, request: Request) -> object:
    """Return the checked body. A path that takes none ignores none: it is read and bounded all the same."""
    try:
        async with asyncio.timeout(BODY_S):
            data = await _read(request, endpoint.body_bytes_max)
    except TimeoutError as error:
        raise Problem("too_slow", f"The body did not come within {BODY_S:g} s.") from error
    if not endpoint.body:
        return None
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if endpoint.body == PROGRAM_MEDIA_TYPE:
        _expect(media_type, PROGRAM_MEDIA_TYPE)
        hub: Hub = request.app.state.hub
        async with hub.checking_program:
            return await asyncio.to_thread(check_program, data, await hub.programs.trusted())
    _expect(media_type, "application/json")
    value = parse_json(data)
    errors = check(endpoint.body, value)
    if errors:
        first = f"{errors[0].pointer or 'the body'} {errors[0].message}"
        raise Problem("invalid_body", f"{first[0].upper()}{first[1:]}.", errors=errors)
    return value


def _expect(media_type: str, wanted: str) -> None:
    if media_type != wanted:
        raise Problem("unsupported_media_type", f"This path takes {wanted}, not {media_type[:80] or 'nothing named'}.")


async def _read(request: Request, size_bytes_max: int) -> bytes:
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > size_bytes_max:
                raise Problem("too_large", f"The body is larger than {size_bytes_max} bytes.")
    except ClientDisconnect as error:
        raise Problem("malformed_json", "The body ended early.") from error
    return bytes(data)


def _response(reply: Reply) -> Response:
    headers = {**HEADERS, **reply.headers}
    if reply.body is None:
        return Response(status_code=reply.status, headers=headers)
    if isinstance(reply.body, str):
        return PlainTextResponse(reply.body, reply.status, headers, media_type=metrics.MEDIA_TYPE)
    return JSONResponse(reply.body, reply.status, headers)


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi.document(), headers=HEADERS)


async def _docs(request: Request) -> Response:
    return HTMLResponse(docs_page.page(), headers=docs_page.HEADERS)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = dict(HEADERS)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="eyeflow"'
        if await request.app.state.hub.refusals.pause(request.client.host if request.client else ""):
            headers["Connection"] = "close"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.code in {"too_large", "too_slow"}:
        headers["Connection"] = "close"
    return JSONResponse(error.body(), error.status, headers, media_type=MEDIA_TYPE)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and (page := pages.page(request)) is not None:
        return page
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    detail = f"{request.method} {request.url.path[:200]}: see {openapi.OPENAPI_PATH}."
    problem = Problem(code, detail)
    return JSONResponse(problem.body(), problem.status, {**HEADERS, **(error.headers or {})}, media_type=MEDIA_TYPE)


async def _storage_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, EyeflowError)
    code = "conflict" if isinstance(error, ConflictError) else "storage"
    return await _problem(request, Problem(code, error.brief, error.next_step))


async def _bug(request: Request, error: Exception) -> Response:
    return await _problem(request, Problem("internal", "The coordinator has a bug here; its log says more."))
