from django.urls import path

from storagemgr.people import audit, grants, persons, roles, sign_in, team_editing, teams

app_name = "people"
urlpatterns = [
    path("", persons.person_list, name="people"),
    path("new/", persons.invite, name="invite"),
    path("<int:pk>/", persons.person, name="person"),
    path("<int:pk>/link/", persons.new_link, name="link"),
    path("<int:pk>/close/", persons.close, name="close"),
    path("<int:pk>/open/", persons.reopen, name="open"),
    path("<int:pk>/tokens/<int:token>/revoke/", persons.revoke_token, name="revoke_token"),
    path("<int:pk>/sign-in/", sign_in.sign_in, name="sign_in"),
    path("locks/", sign_in.locks, name="locks"),
    path("audit/", audit.audit_list, name="audit"),
    path("audit/export/", audit.audit_export, name="audit_export"),
    path("audit/check/", audit.audit_check, name="audit_check"),
    path("audit/<int:pk>/", audit.audit_event, name="audit_event"),
    path("teams/", teams.team_list, name="teams"),
    path("teams/new/", team_editing.new, name="new_team"),
    path("teams/<int:pk>/", teams.team, name="team"),
    path("teams/<int:pk>/edit/", team_editing.edit, name="edit_team"),
    path("teams/<int:pk>/join/", teams.join, name="join"),
    path("teams/<int:pk>/leave/", teams.leave, name="leave"),
    path("teams/<int:pk>/delete/", teams.delete, name="delete_team"),
    path("roles/", roles.role_list, name="roles"),
    path("roles/new/", roles.new, name="new_role"),
    path("roles/<slug:name>/", roles.edit, name="role"),
    path("roles/<slug:name>/delete/", roles.delete, name="delete_role"),
    path("grants/", grants.grant_list, name="grants"),
    path("grants/new/", grants.new, name="grant"),
    path("grants/<int:pk>/revoke/", grants.revoke, name="revoke"),
]
