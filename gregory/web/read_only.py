"""The base of all lists: rows of the user's teams, without a form that changes them."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponseNotAllowed
from django.urls import URLPattern, path

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class ReadOnlyList(_Admin):
    """A list. It has the addresses of the list, and of one row only if `has_page`: all others of Django's admin could write."""

    actions = None
    list_per_page = 50
    # The number of all rows, beside that of the found rows, costs a second count.
    show_full_result_count = False
    has_page = False
    change_list_template = "web/list.html"
    change_form_template = "web/row.html"
    title: str

    def get_urls(self) -> list[URLPattern]:
        """The list, and the page of a row."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        urls = [path("", view(self.changelist_view), name=f"{name}_changelist")]
        if self.has_page:
            urls.append(path("<path:object_id>/change/", view(self.row_view), name=f"{name}_change"))
        return urls

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The list with its own title."""
        return super().changelist_view(request, {"title": self.title, **(extra_context or {})})

    def row_view(self, request: HttpRequest, object_id: str) -> Any:
        """The page of a row: all fields, read only."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if self.get_object(request, object_id) is None:
            raise Http404(f"there is no row {object_id}")
        return self.changeform_view(request, object_id, extra_context={"list_title": self.title})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows that the user may see."""
        raise NotImplementedError

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever may log in sees the list."""
        return True

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """`get_queryset` decides."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    has_change_permission = has_delete_permission = has_add_permission
